"""What a search has evaluated, in SQLite: kept as it becomes known, never evaluated twice."""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..model.errors import InputError

SCHEMA = 1


class Store:
    """Values by key, in a file that several processes may have open and a kill leaves whole.

    A key is everything that an evaluation depends on, as text. Values are JSON-able mappings.
    Raises :class:`InputError` where the file cannot be opened, or is something else.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with self._explained():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.db = sqlite3.connect(self.path, timeout=60)
            # What is committed survives the end of the process; readers never wait for writers.
            self.db.execute("PRAGMA journal_mode=WAL")
            self.db.execute("PRAGMA synchronous=NORMAL")
            version = self.db.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, SCHEMA):
                raise InputError(f"{self.path}: version {version}, this program reads {SCHEMA}")
            self.db.execute(
                "CREATE TABLE IF NOT EXISTS evaluations (key TEXT PRIMARY KEY, "
                "genome TEXT NOT NULL, result TEXT NOT NULL, "
                "at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)"
            )
            self.db.execute(f"PRAGMA user_version={SCHEMA}")
            self.db.commit()

    @contextmanager
    def _explained(self):
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise InputError(f"{self.path}: not a store of evaluations ({error})") from None

    def load(self, keys: Iterable[str]) -> dict[str, dict[str, Any]]:
        """The results that are known of `keys`."""
        found = {}
        with self._explained():
            for key in keys:
                row = self.db.execute(
                    "SELECT result FROM evaluations WHERE key=?", (key,)
                ).fetchone()
                if row:
                    found[key] = json.loads(row[0])
        return found

    def keep(self, key: str, genome: str, result: Mapping[str, Any]) -> None:
        """Keep a result for good; the first one of a key stays."""
        with self._explained():
            self.db.execute(
                "INSERT OR IGNORE INTO evaluations (key, genome, result) VALUES (?, ?, ?)",
                (key, genome, json.dumps(result, sort_keys=True)),
            )
            self.db.commit()

    def __len__(self) -> int:
        with self._explained():
            return int(self.db.execute("SELECT COUNT(*) FROM evaluations").fetchone()[0])

    def close(self) -> None:
        """Close the file."""
        self.db.close()
