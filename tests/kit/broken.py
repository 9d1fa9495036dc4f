"""Errors of calls as a stub raises them."""

from typing import Any

import grpc

from service_kit.status import internal, to_status


class Broken(grpc.RpcError, grpc.Call):
    """`rich`: with a Status of ours."""

    def __init__(self, code: grpc.StatusCode, *, rich: bool = False) -> None:
        self._code = code
        self._status = to_status(internal("trace")) if rich else None

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return "" if self._status is None else self._status.message

    def trailing_metadata(self) -> Any:  # noqa: ANN401 - grpc's
        return () if self._status is None else (("grpc-status-details-bin", self._status.SerializeToString()),)

    def _nothing(self, *_: object) -> Any:  # noqa: ANN401 - grpc's
        return None

    add_callback = cancel = initial_metadata = is_active = time_remaining = _nothing  # type: ignore[assignment] # no test asks
