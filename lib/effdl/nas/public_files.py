"""Published tables of architecture search: where they lie, and what they must be.

Papers: Lee et al., "HELP: Hardware-Adaptive Efficient Latency Prediction for NAS via
Meta-Learning", NeurIPS 2021, https://arxiv.org/abs/2106.08630, whose repository holds
latencies of HW-NAS-Bench (Li et al., ICLR 2021, https://arxiv.org/abs/2103.10584) in
plain files; Krishnakumar et al., "NAS-Bench-Suite-Zero", NeurIPS 2022,
https://arxiv.org/abs/2210.03230, from whose library the accuracies of NAS-Bench-201
come; Qin et al., "NAS-Bench-Graph", NeurIPS 2022, https://arxiv.org/abs/2206.09166.

None of them is in this book. Each is a file on GitHub at one commit, with the SHA-256
that it had there, and is fetched only if the reader allows the network:
:mod:`effdl.data.download`. Latencies are in milliseconds in the files, and in seconds
in what the loaders return.
"""

from typing import Any

import torch

from effdl.data.download import Download, fetch

HOSTS = (
    "https://raw.githubusercontent.com/{repository}/{commit}/{path}",
    "https://github.com/{repository}/raw/{commit}/{path}",
)
HELP = ("HayeonLee/HELP", "45f70eb92d0d735970a33b608d1544ad3c52f285")
NASLIB = ("automl/NASLib", "ba4ffd845db508e475085f48f3bd3f40af05b551")
GRAPHS = ("THUMNLab/NAS-Bench-Graph", "be42534b56f6aaab2c3d6145b10eda9cbde10193")
MILLISECOND = 1e-3


def github_file(
    name: str, size: int, sha256: str, source: tuple[str, str], path: str
) -> Download:
    """Return a file at one commit of a repository, as something to fetch.

    Args:
        name: Its name in the cache.
        size: In bytes.
        sha256: In 64 hexadecimal digits.
        source: Owner and name of the repository, and the commit.
        path: Where the file is in it.

    Example:
        >>> github_file("a", 1, "0" * 64, ("me/mine", "c0ffee"), "b/a").mirrors[1]
        'https://github.com/me/mine/raw/c0ffee/b/a'
    """
    repository, commit = source
    mirrors = tuple(
        host.format(repository=repository, commit=commit, path=path) for host in HOSTS
    )
    return Download(name, size, sha256, mirrors)


def read_pt(download: Download, *, online: bool | None = None) -> Any:  # noqa: ANN401
    """Return what a .pt file holds, if that is plain numbers, texts and containers.

    Args:
        download: What to read; fetched first if need be. The errors are those of
            :func:`effdl.data.download.fetch`, and ``pickle.UnpicklingError`` if the
            file holds anything else.
        online: Whether the network may be used; None asks EFFDL_ONLINE.

    Example:
        >>> read_pt(Download("none.pt", 9, "0" * 64, ()), online=False)
        Traceback (most recent call last):
        FileNotFoundError: none.pt (0.0 MB) is not in ...
    """
    return torch.load(fetch(download, online=online), weights_only=True)


CELL_ACCURACIES = github_file(
    "nasbench201/nb201_zen.zip",
    1_661_280,
    "6c9aec8cd0c235d7b7a37a27f224bb719e7376e8048f2dd6d91bc06dcfcc2a2e",
    NASLIB,
    "run/results/benchmarks/nb201_zen.zip",
)
CELL_NUMBERS = github_file(
    "nasbench201/str_arch2idx.pt",
    1_536_943,
    "e1d7b7cc7cf51d7c3cd6f9e726e7395bea87d7ba674e26202fb8633f963aef0d",
    HELP,
    "data/nasbench201/str_arch2idx.pt",
)
CELL_LATENCIES = {
    device: github_file(
        f"nasbench201/latency/{device}.pt",
        141_039,
        sha256,
        HELP,
        f"data/nasbench201/latency/{device}.pt",
    )
    for device, sha256 in (
        ("raspi4", "2fae425c50bcaef7aacc5391244cd0af98bfc7fba689a8741e461cb18192f57c"),
        ("pixel3", "cf1387da12e06b1d4541ce85f3ca4869d551084e09daf4acf024b6e21a80d465"),
        ("eyeriss", "6f1dd2f8c0442289a09ab78e63e49bde96489f6d455cc33d5fa5aed37edb5d03"),
    )
}
FBNET_ARCHITECTURES = github_file(
    "fbnet/arch.pt",
    259_631,
    "ba5e1e45bb4134afd07b44ae8e69bf2576051935682368fd9c51cbde059c7fdc",
    HELP,
    "data/fbnet/arch.pt",
)
FBNET_LATENCIES = {
    device: github_file(
        f"fbnet/latency/{device}.pt",
        45_423,
        sha256,
        HELP,
        f"data/fbnet/latency/{device}.pt",
    )
    for device, sha256 in (
        ("raspi4", "51a9da87b02efb1a6ebd42e312c324abdaac0e75dbfc84825dff92b0804a44af"),
        ("pixel3", "ccd89872782b2c4f4c7b163e65983cffb7a14782b3a03f2837ccf5083f00ebd8"),
        ("eyeriss", "eaf78708634cdada3fa52971a91fa851c41a3a3edc213c7d5dd3dc81ad205e7f"),
        ("fpga", "f1f0542554cf205f93593814d9e5012df90139043c1b878a24d36d66b0a5adaf"),
    )
}
GRAPH_NETWORKS = github_file(
    "nasbench-graph/cora.bench",
    2_036_857,
    "5e69b2f9bb08d8927d9ffd4921f8494a3cea349c9c3a461334cb9dc9e11701a8",
    GRAPHS,
    "nas-bench-graph/light/cora.bench",
)
