"""How many calls a second one subject may make, by class, in Envoy's form and in that of envoyproxy/ratelimit.

The classes are told apart in gateway/envoy.yaml: each call that has a verified subject becomes one descriptor, of its
class and its subject. Here are the numbers.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from specie_cli.stack.address import Address

CLASS, SUBJECT = "class", "subject"
DOMAIN = "specie"
"""Of the descriptors, for envoyproxy/ratelimit."""
LIMITER_CLUSTER = "limiter"


class AllowanceError(argparse.ArgumentTypeError, ValueError):
    """The text is not of the form that is asked for."""


@dataclass(frozen=True)
class Allowance:
    """Calls a second, and as many at once."""

    reads: int
    writes: int
    batches: int

    @classmethod
    def parse(cls, text: str) -> "Allowance":
        """READS,WRITES,BATCHES"""
        numbers = [int(number) for number in text.split(",") if number.isdecimal()]
        if len(numbers) != len(text.split(",")) or len(numbers) != len(cls.__dataclass_fields__) or min(numbers) < 1:
            raise AllowanceError(f"{text} is not READS,WRITES,BATCHES, each 1 or more")
        return cls(*numbers)

    def __str__(self) -> str:
        return f"{self.reads},{self.writes},{self.batches}"

    def by_class(self) -> dict[str, int]:
        return {"read": self.reads, "write": self.writes, "batch": self.batches}


# One subject alone cannot take a machine from the others: a small one does some 5,000 writes a second, and batches of
# 5,000 transfers five times that in transfers. Where people call by themselves, much less does: 200,50,5, say. A
# company's own backend acts for many and is given more by name.
USUAL = Allowance(reads=2_000, writes=1_000, batches=20)


@dataclass(frozen=True)
class SubjectLimits:
    usual: Allowance = USUAL
    named: Mapping[str, Allowance] = field(default_factory=lambda: MappingProxyType({}))
    """Other limits for these subjects."""

    def descriptors(self) -> list[dict[str, object]]:
        """For Envoy's local_ratelimit. One without a value has a bucket for each value; a named one goes before it."""
        return [
            *self._buckets(self.usual, {"key": SUBJECT}),
            *(
                bucket
                for name, allowance in self.named.items()
                for bucket in self._buckets(allowance, {"key": SUBJECT, "value": name})
            ),
        ]

    @staticmethod
    def _buckets(allowance: Allowance, subject: dict[str, str]) -> list[dict[str, object]]:
        return [
            {
                "entries": [{"key": CLASS, "value": name}, subject],
                "token_bucket": {"max_tokens": calls, "tokens_per_fill": calls, "fill_interval": "1s"},
            }
            for name, calls in allowance.by_class().items()
        ]

    def of_the_fleet(self) -> dict[str, object]:
        """The same for envoyproxy/ratelimit: the configuration file that it reads."""
        return {
            "domain": DOMAIN,
            "descriptors": [
                {
                    "key": CLASS,
                    "value": name,
                    "descriptors": [
                        {"key": SUBJECT, "rate_limit": per_second(calls)},
                        *(
                            {"key": SUBJECT, "value": subject, "rate_limit": per_second(allowance.by_class()[name])}
                            for subject, allowance in self.named.items()
                        ),
                    ],
                }
                for name, calls in self.usual.by_class().items()
            ],
        }


def per_second(calls: int) -> dict[str, object]:
    return {"unit": "second", "requests_per_unit": calls}


def named_allowance(text: str) -> tuple[str, Allowance]:
    """NAME=READS,WRITES,BATCHES"""
    name, _, numbers = text.rpartition("=")
    if not name:
        raise AllowanceError(f"{text} is not NAME=READS,WRITES,BATCHES")
    return name, Allowance.parse(numbers)


def limiter_cluster(limiter: Address) -> dict[str, object]:
    return {
        "name": LIMITER_CLUSTER,
        "type": "STRICT_DNS",
        "dns_lookup_family": "V4_PREFERRED",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": LIMITER_CLUSTER, "endpoints": [{"lb_endpoints": [limiter.endpoint()]}]},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {
                    "http2_protocol_options": {"connection_keepalive": {"interval": "10s", "timeout": "5s"}}
                },
            }
        },
    }
