"""A campaign in pieces: it ends with its budget, and the next call goes on."""

import json

from genogate.sim.rtl.network.campaign import RESULTS

from studies import structures


def stand_in(asked):
    """A campaign that records its networks and simulates none."""

    def campaign(n, *, out_dir, seed, indices, workers=2, progress=True, structures=False):
        asked.append(list(indices))
        out_dir.mkdir(parents=True, exist_ok=True)
        path = out_dir / RESULTS
        there = set()
        if path.exists():
            records = [json.loads(line) for line in path.read_text().splitlines()]
            there = {record["index"] for record in records if record["seed"] == seed}
        with path.open("a") as file:
            for index in sorted({*indices} - there):
                record = {"index": index, "seed": seed, "structures": structures}
                file.write(json.dumps({**record, "sources": "today"}) + "\n")
        return {"cases": len(indices)}

    return campaign


def test_a_campaign_ends_with_its_budget_and_goes_on(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(structures, "campaign", stand_in(asked))
    monkeypatch.setattr(structures, "source_fingerprint", lambda: "today")
    first = list(range(structures.PIECE))
    # A nanosecond is spent after the first piece.
    summary, records = structures.in_pieces(12, tmp_path, 7, "0.000000001s")
    assert asked == [first, first]
    assert (summary["cases"], summary["planned"], len(records)) == (5, 12, 5)
    assert structures.of_planned(summary) == " (of 12 planned)"
    summary, records = structures.in_pieces(12, tmp_path, 7, "10m")
    assert [record["index"] for record in records] == list(range(12))
    assert structures.of_planned(summary) == ""
    # Of another seed nothing is there.
    _, records = structures.in_pieces(2, tmp_path, 8, None)
    assert [record["seed"] for record in records] == [8, 8]
