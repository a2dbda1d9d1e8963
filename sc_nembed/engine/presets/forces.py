"""Methods of pairs and forces."""

from __future__ import annotations

from typing import Any

from .. import objective, phases
from ..config import EmbeddingConfig
from ..objective.force_atlas2 import ForceAtlas2Options
from ..optimize.adam import Adam
from ..optimize.optimizer import PreconditionedNesterov
from ..output_affinity import GaussianAffinity


def pacmap() -> EmbeddingConfig:
    """PaCMAP (Wang et al. 2021): pulls between near and mid-near pairs, a push between far ones; three phases, by Adam.

    11 neighbors, the cell itself counted, up to 10 000 cells, and 15 more for each power of ten above; `MN_ratio`
    mid-near and `FP_ratio` far pairs for each of them. Needs a representation, whose scale does not matter. The code of
    the authors first scales it to a range of 1, and takes 100 principal components where it has more variables; this
    does neither. `max_iter` steps are shared out between the phases as 100, 100 and 250 are.
    """
    return EmbeddingConfig(
        method="pacmap",
        schedule=phases.of_pacmap,
        terms=objective.pacmap,
        of_method=objective.PACMAPOptions(),
        **_of_pairs(),
    )


def localmap() -> EmbeddingConfig:
    """LocalMAP (Wang et al. 2024): PaCMAP whose last phase pulls harder on near pairs at hand, and pushes nearby ones.

    In that phase far pairs are drawn anew every ten steps, among cells within `low_dist_thres` in the embedding; the
    pull is multiplied by half of that over the distance.
    """
    return EmbeddingConfig(
        method="localmap",
        schedule=phases.of_localmap,
        terms=objective.localmap,
        of_method=objective.LocalMAPOptions(),
        **_of_pairs(),
    )


def _of_pairs() -> dict[str, Any]:
    """What PaCMAP and LocalMAP have in common."""
    return {
        "affinity_out": None,
        "has_output": False,
        "search_affinity": "pacmap",
        "graph_affinity": "pacmap",
        "symmetric": False,
        "reads_features": True,
        "automatic": Adam(),
    }


def force_atlas2() -> EmbeddingConfig:
    """ForceAtlas2 (Jacomy et al. 2014) with the defaults of `scanpy.tl.draw_graph`, and its lengths.

    Of a finished graph the connectivities are taken as they are; of a representation UMAP's affinities of 15 neighbors.
    The start is scaled to what the graph says of the size of its layout.
    """
    return EmbeddingConfig(
        method="force_atlas2",
        affinity_out=GaussianAffinity(normalization=None),
        search_affinity="umap",
        graph_affinity="umap",
        reads_weights=True,
        named_init_scaling=objective.start_size,
        schedule=phases.of_force_atlas2,
        terms=objective.force_atlas2,
        automatic=PreconditionedNesterov(max_step=0.0, max_step_span=0.1),
        of_method=ForceAtlas2Options(),
    )
