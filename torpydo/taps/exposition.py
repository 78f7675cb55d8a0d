"""Figures in the text format of Prometheus. The only module that imports ``prometheus_client`` (the extra ``metrics``).

Loaded only when ``--metrics`` is given. Called by metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import attrs
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from torpydo.taps.figures import Figure

__all__ = ["CONTENT_TYPE", "exposition"]

CONTENT_TYPE = CONTENT_TYPE_LATEST


def _family(figure: Figure) -> Metric:
    name, words, labels = f"torpydo_{figure.name}", figure.words, [figure.label] if figure.label else []
    make = CounterMetricFamily if figure.counts else GaugeMetricFamily
    family: CounterMetricFamily | GaugeMetricFamily = make(name, words, labels=labels)
    values: Mapping[str, float] = figure.value if isinstance(figure.value, Mapping) else {"": figure.value}
    for label, value in values.items():
        family.add_metric([label] if labels else [], value)
    return family


@attrs.frozen(eq=False)
class _Figures(Collector):
    service: str
    version: str
    figures: Callable[[], Iterable[Figure]]

    def collect(self) -> Iterable[Metric]:
        yield InfoMetricFamily("torpydo", "What runs.", value={"service": self.service, "version": self.version})
        yield from map(_family, self.figures())

    def describe(self) -> Iterable[Metric]:
        # Asked when it is registered, when there may be nothing to tell yet.
        return []


def exposition(service: str, version: str, figures: Callable[[], Iterable[Figure]]) -> Callable[[], bytes]:
    """Make what writes everything down: the figures, and those of the process as Prometheus names them.

    :param service: ``node``, ``pool``, ``client`` or ``service``
    :param figures: gives them as they are now
    """
    registry = CollectorRegistry()
    registry.register(_Figures(service, version, figures))
    # Memory, processor time and file descriptors; on a system without /proc there are none.
    ProcessCollector(registry=registry)
    return lambda: generate_latest(registry)
