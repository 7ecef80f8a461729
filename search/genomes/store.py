"""What a search has evaluated, in SQLite: kept as it becomes known, never evaluated twice."""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...model.errors import InputError
from .remedies import Resume

SCHEMA = 2
#: Seconds that another process may hold the file.
PATIENCE = 20.0


def _checksum(key: str, result: str) -> str:
    return hashlib.sha256(f"{key}\0{result}".encode()).hexdigest()[:16]


class Store:
    """Values by key, in a file that several processes may have open and a kill leaves whole.

    A key is everything that an evaluation depends on, as text. Values are JSON-able mappings. Every
    row has a checksum: one that was changed from outside counts as not there.
    Raises :class:`InputError` where the file cannot be opened, is locked, or is something else.

    damaged : rows that were met and are not what was written
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.damaged = 0
        with self._explained():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.db = sqlite3.connect(self.path, timeout=PATIENCE)
            # What is committed survives the end of the process; readers never wait for writers.
            self.db.execute("PRAGMA journal_mode=WAL")
            self.db.execute("PRAGMA synchronous=NORMAL")
            version = self.db.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, SCHEMA):
                raise InputError(
                    f"{self.path}: version {version}, this program reads {SCHEMA}",
                    "search in another folder",
                )
            if self.db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise sqlite3.DatabaseError("database disk image is malformed")
            if not version:
                self.db.execute(
                    "CREATE TABLE IF NOT EXISTS evaluations (key TEXT PRIMARY KEY, "
                    "genome TEXT NOT NULL, result TEXT NOT NULL, checksum TEXT NOT NULL, "
                    "at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)"
                )
                self.db.execute(f"PRAGMA user_version={SCHEMA}")
                self.db.commit()

    @contextmanager
    def _explained(self):
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            text = str(error)
            remedy: object
            if self.path.is_dir():
                text = "it is a folder"
                remedy = Resume("move it away", "which makes it again")
            elif "locked" in text or "busy" in text:
                remedy = Resume("end the other program that holds it")
            elif "full" in text or "disk I/O" in text or "No space" in text:
                remedy = Resume("make room on the disk")
            elif "readonly" in text or "denied" in text or "unable to open" in text:
                remedy = "it needs a folder that can be written"
            else:
                remedy = Resume("move it away", "which makes the evaluations again")
            raise InputError(f"{self.path}: not a store of evaluations ({text})", remedy) from None

    def load(self, keys: Iterable[str]) -> dict[str, dict[str, Any]]:
        """The results that are known of `keys`."""
        results = {}
        with self._explained():
            for key in keys:
                row = self.db.execute(
                    "SELECT result, checksum FROM evaluations WHERE key=?", (key,)
                ).fetchone()
                if row is None:
                    continue
                if row[1] == _checksum(key, str(row[0])):
                    results[key] = json.loads(row[0])
                else:
                    self.damaged += 1
        return results

    def keep(self, key: str, genome: str, result: Mapping[str, Any]) -> None:
        """Keep a result for good. A later one of the same key takes its place only if it has more
        entries, or the earlier one was damaged."""
        if len(self.load([key]).get(key, {})) >= len(result):
            return
        text = json.dumps(result, sort_keys=True)
        with self._explained():
            self.db.execute(
                "INSERT OR REPLACE INTO evaluations (key, genome, result, checksum) "
                "VALUES (?, ?, ?, ?)",
                (key, genome, text, _checksum(key, text)),
            )
            self.db.commit()

    def __len__(self) -> int:
        with self._explained():
            return int(self.db.execute("SELECT COUNT(*) FROM evaluations").fetchone()[0])

    def close(self) -> None:
        """Close the file."""
        self.db.close()
