"""The page of the study of speech enhancement."""

from typing import Any

from studies.denoise import render


def row(seed: int, name: str, gain: float, trained: bool = False, **more: Any) -> dict[str, Any]:
    figures = {"si_sdr": gain + 4, "si_sdr_gain": gain, "stoi": 0.7 + gain / 100, "pesq": None}
    return {"seed": seed, "name": name, "trained": trained, **figures, **more}


def test_networks_are_told_against_float_seed_by_seed() -> None:
    hardware = {"size": 120_000, "um2": 250_000.0, "clock_mhz": 0.31}
    rows = [
        row(0, "noisy", 0.0),
        row(0, "float", 6.0),
        row(1, "float", 5.0),
        row(0, "INT4", 5.5, trained=True, **hardware),
        row(1, "INT4", 4.9, trained=True, **hardware),
    ]
    text = render({"rows": rows, "missing": 2, "epochs": 12})
    assert "2 networks are not trained yet." in text
    line = next(part for part in text if part.startswith("| INT4, trained"))
    # Both seeds lose: 0.5 and 0.1 dB, so 0.3 with a standard error of 0.2.
    assert line == (
        "| INT4, trained | 5.20 | -0.30 ± 0.20 | 0.752 | -0.003 ± 0.002 | - | 120,000 | 250,000 "
        "| 0.31 |"
    )
    noisy = next(part for part in text if part.startswith("| noisy"))
    assert noisy == "| noisy | 0.00 |  | 0.700 |  | - |  |  |  |"
