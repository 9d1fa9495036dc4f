"""When a stream that broke off is worth another attempt, and after how long."""

from typing import Final

import grpc
from grpc_status import rpc_status

PAUSES_SECONDS: Final = (0.1, 0.5, 1, 2, 4, 8, 8)
"""Before each attempt to go on. After something has come they begin anew."""
TRIED_AGAIN: Final = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED}
BROKEN_OFF: Final = {grpc.StatusCode.INTERNAL, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN}
"""What gRPC itself says of a connection that was reset. With a status of ours it is the service's last word."""


def may_pass(error: grpc.RpcError) -> bool:
    """Whether the same call may well succeed a little later."""
    if not isinstance(error, grpc.Call):
        return False
    code = error.code()
    return code in TRIED_AGAIN or (code in BROKEN_OFF and rpc_status.from_call(error) is None)
