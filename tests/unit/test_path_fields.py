"""What the gateway's filter in front of the transcoder knows of the contract."""

import re

from tests.kit.rpcs import all_rpcs
from tests.kit.stack import ROOT


def test_it_knows_every_field_that_a_path_binds() -> None:
    templates = [getattr(rule, rule.WhichOneof("pattern")) for rpc in all_rpcs() for rule in rpc.bindings]
    bound = {field for template in templates for field in re.findall(r"\{([\w.]+)=", template)}
    table = re.findall(r"^local PATH_FIELDS = \{(.*?)\}$", (ROOT / "gateway/edge.lua").read_text(), re.M | re.S)
    assert set(re.findall(r'\["([\w.]+)"\] = true', table[0])) == bound
