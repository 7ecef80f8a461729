"""A knob is declared once: options, genes and folder names are read off its field."""

from dataclasses import dataclass

import click
import pytest
from click.testing import CliRunner
from genogate.commands.options import knob_options
from genogate.model.errors import InputError
from genogate.model.knobs import Knobs, fields_of, knob, knob_genes


@dataclass(frozen=True)
class WithSkip(Knobs):
    """One knob more, and nothing else."""

    skip: str = knob(
        "none", "Steps to skip.", choices=("none", "half"), genes=("none", "half"), short="skip-"
    )


def test_a_field_more_is_an_option_a_gene_and_a_part_of_the_folder_name():
    seen = []

    @click.command()
    @knob_options(WithSkip)
    def command(**given):
        seen.append(WithSkip.from_texts({name: str(value) for name, value in given.items()}))

    help_text = CliRunner().invoke(command, ["--help"]).output
    assert "--skip [none|half]" in help_text
    assert "Steps to skip.  [default: none]" in help_text
    CliRunner().invoke(command, ["--skip", "half"], catch_exceptions=False)
    assert seen == [WithSkip(skip="half")]
    assert seen[0].suffix == "-skip-half"
    assert seen[0].to_json()["skip"] == "half"
    assert knob_genes(WithSkip) == knob_genes() | {"skip": ("none", "half")}
    with pytest.raises(InputError, match=r"skip: 'all' is not one of \('none', 'half'\)"):
        WithSkip(skip="all")


def test_texts_of_options_give_the_same_knobs_again():
    for knobs in (
        Knobs(),
        Knobs("gene", "channel", None, "table", 16, 2, 4, 3),
        Knobs(lanes_x=8, lanes_h=8, multiplier_terms=3),
    ):
        assert Knobs.from_texts(knobs.option_texts()) == knobs


def test_the_order_and_the_values_of_genes_stay_since_stores_and_seeds_depend_on_them():
    assert knob_genes() == {
        "dense_output": ("gene", "8"),
        "granularity": ("tensor", "channel"),
        "multiplier_terms": (1, 2, 3),
        "activation": ("table", "pwl", "auto"),
        "entries": (4, 6, 8, 12, 16),
        "lanes": (1, 2, 4, 8),
        "input_bits": (1, 2, 3, 4, 5, 6, 7, 8),
        "share": ("none", "gates", "all"),
        "classifier_bits": (2, 3, 4, 5, 6, 7, 8),
        "head_bits": (2, 3, 4, 5, 6, 7, 8),
    }
    assert list(knob_genes())[5] == "lanes"
    assert fields_of({"lanes": 4, "entries": 6}) == {"lanes_x": 4, "lanes_h": 4, "entries": 6}


def test_the_folder_name_says_what_differs():
    assert Knobs().suffix == ""
    assert Knobs(lanes_x=2, lanes_h=2, activation="pwl").suffix == "-pwl-lanes-2"
    assert Knobs("gene", "channel", None, "table", 16, 2, 4, 3).suffix == (
        "-outputs-gene-scales-per-channel-terms-free-table-entries-16-lanes-2x4-input-3"
    )


@pytest.mark.parametrize("lanes", ["", "two", "1,2,3", "2.5", "1," + "9" * 5000, "²"])
def test_lanes_that_are_no_numbers_are_refused(lanes):
    with pytest.raises(InputError, match=r"^lanes"):
        Knobs.from_texts({"lanes": lanes})
