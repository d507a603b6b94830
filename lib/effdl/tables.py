"""The survey's four tables as typed rows: the facts it prints, with its slips noted.

A list is a tuple, and None stands where the survey prints N/A or a dash. ``reference``
is the number of the source in the survey's own bibliography.

Example:
    >>> [board.board for board in load_boards() if board.power_high <= 2]
    ['Intel Neural Compute Stick', 'Google Edge TPU', 'Orange Pi AI Stick Lite']
"""

from dataclasses import dataclass

from effdl.data.files import data_path
from effdl.rows import read_rows


@dataclass(frozen=True)
class SearchMethod:
    """One row of Table 1: a hardware-aware search, its cost and its result.

    Attributes:
        method: Name.
        reference: Number of the source.
        search_space: "Cell" or "Block".
        strategy: "Reinforce", "Evolution" or "Gradient".
        dataset: What the search ran on.
        hours: Search cost in hours of one ``device``.
        device: Such as "V100"; empty if not given.
        targets: Hardware that the search optimises for.
        cost_model: "LUT", "Predictor" or empty.
        mega_macs: Millions of multiply-adds; the survey calls them FLOPs.
        top1: Accuracy on ImageNet in per cent.
        note: What must be known to read the row.
    """

    method: str
    reference: int
    search_space: str
    strategy: str
    dataset: str
    hours: float | None
    device: str
    targets: tuple[str, ...]
    cost_model: str
    mega_macs: float | None
    top1: float | None
    note: str


@dataclass(frozen=True)
class Benchmark:
    """One row of Table 2: a benchmark of architecture search.

    Attributes:
        benchmark: Name.
        reference: Number of the source.
        size: Architectures, rounded as in the survey.
        exact_size: Architectures, counted or estimated by the source.
        search_space: "Cell-Based", "Block-Based" or both.
        tabular: Whether every architecture was trained.
        surrogate: Whether a model predicts the results.
        tasks: What the architectures do.
        datasets: What they were trained on.
        metrics: What can be looked up.
        note: What must be known to read the row.
    """

    benchmark: str
    reference: int
    size: float | None
    exact_size: float | None
    search_space: str
    tabular: bool
    surrogate: bool
    tasks: tuple[str, ...]
    datasets: tuple[str, ...]
    metrics: tuple[str, ...]
    note: str


@dataclass(frozen=True)
class Framework:
    """One row of Table 3: a software framework.

    Attributes:
        framework: Name.
        reference: Number of the source.
        created_by: Company, university or "Personal".
        year: First release.
        languages: Programming languages.
        graph: "Static", "Dynamic" or both.
        training: Whether it trains as well as infers.
        maintained: Whether it was maintained when the survey was written.
        note: What must be known to read the row.
    """

    framework: str
    reference: int
    created_by: str
    year: int
    languages: tuple[str, ...]
    graph: tuple[str, ...]
    training: bool
    maintained: bool
    note: str


@dataclass(frozen=True)
class Board:
    """One row of Table 4: a board or an accelerator.

    Attributes:
        board: Name.
        reference: Number of the source.
        ram_gb: Memory in 10^9 bytes.
        ram_type: Such as "LPDDR4".
        storage_gb: Storage in 10^9 bytes.
        storage_type: Such as "eMMC 5.1".
        power_low: Lowest power in watts.
        power_high: Highest power in watts.
        tera_ops: Peak in 10^12 operations a second; a multiply-add is two.
        ops: "TFLOPS" (floating point) or "TOPS" (integer).
        price: US dollars when the survey was written.
        software: Frameworks that run on it.
    """

    board: str
    reference: int
    ram_gb: int | None
    ram_type: str
    storage_gb: int | None
    storage_type: str
    power_low: float
    power_high: float
    tera_ops: float
    ops: str
    price: int
    software: tuple[str, ...]


def load_search_methods() -> list[SearchMethod]:
    """Return Table 1: hardware-aware architecture search.

    Example:
        >>> load_search_methods()[0].method
        'MnasNet'
    """
    return read_rows(data_path("survey/table1.csv"), SearchMethod)


def load_benchmarks() -> list[Benchmark]:
    """Return Table 2: benchmarks of architecture search.

    Example:
        >>> load_benchmarks()[0].exact_size
        423624.0
    """
    return read_rows(data_path("survey/table2.csv"), Benchmark)


def load_frameworks() -> list[Framework]:
    """Return Table 3: software frameworks.

    Example:
        >>> load_frameworks()[0].created_by
        'Google'
    """
    return read_rows(data_path("survey/table3.csv"), Framework)


def load_boards() -> list[Board]:
    """Return Table 4: hardware.

    Example:
        >>> load_boards()[1].board
        'Nvidia Jetson Nano'
    """
    return read_rows(data_path("survey/table4.csv"), Board)
