"""How a quantised network is trained."""

from dataclasses import dataclass

from ..errors import InputError, index_within, number_within, shown

#: What becomes of states that sequences start with.
INITIAL_STATES = ("", "learned", "fixed")
#: Which epoch a training ends with.
KEEP = ("best", "last")


@dataclass(frozen=True)
class Tuning:
    """How to train a quantised network. The defaults were chosen by validation accuracy.

    batch : sequences of a batch; None: as the float training had it, or the task's recipe has it
    distil : share of the loss that is the distance to the float network's answers, 0 to 1
    temperature : softens both answers for that
    narrow : whether 2-bit weights are ternary (-1, 0, 1) rather than -2 to 1, which was better
    tables : whether the entries of activation tables are trained too
    patience : epochs without a better validation accuracy after which training stops; 0: never
    scales : "fixed": they stay as calibration chose them; "learned": they are trained too, for the
        first part of the epochs (:mod:`.learned_scales`), which takes half as long again and was no
        better on validation of three networks of digits-row at INT4, INT3 and INT2
    keep : "best": the epoch of best validation accuracy, which flatters it; "last": the last epoch,
        so that validation accuracy is that of a network nothing of which it has chosen
    initial_state : "learned": states that sequences start with are trained too, from zero on where
        the network has none; "fixed": they stay; empty: learned where the network has some
    lr : of weights of 8 bits, in sequences of up to :data:`.network.LONG` steps; those of
        fewer bits have further to the next code, and learn faster; longer sequences have
        :data:`LONG_RATE` of it
    """

    epochs: int = 30
    seed: int = 0
    lr: float = 5e-3
    batch: int | None = None
    distil: float = 0.5
    temperature: float = 2.0
    narrow: bool = False
    tables: bool = False
    patience: int = 0
    scales: str = "fixed"
    keep: str = "best"
    initial_state: str = ""

    def __post_init__(self) -> None:
        if self.keep not in KEEP:
            raise InputError(f"keep: {shown(self.keep)} is not {' or '.join(KEEP)}")
        if self.initial_state not in INITIAL_STATES:
            raise InputError(f"initial_state: {shown(self.initial_state)} is not learned or fixed")
        if self.keep == "last" and self.patience:
            raise InputError("patience: it keeps the best epoch: leave it out, or keep the best")
        if self.scales not in ("learned", "fixed"):
            raise InputError(f"scales: {self.scales!r} is not learned or fixed")
        if self.tables and self.scales == "learned":
            raise InputError(
                "tables: entries are trained only where scales are fixed: add --scales fixed"
            )
        for name, most in (("epochs", 100_000), ("batch", 1 << 20)):
            value = getattr(self, name)
            if value is not None:
                index_within(name, value, 1, most)
        if not 0 < self.lr <= 1:
            raise InputError(f"lr: {self.lr} is not above 0 and at most 1")
        number_within("distil", self.distil, 0, 1)
        number_within("temperature", self.temperature, 0.1, 100)
        index_within("patience", self.patience, 0, 100_000)


#: Tensors of a linear layer.
PARTS = ("weight", "bias")
