"""`python -m service_kit.probe HOST:PORT [--service liveness]`: exit 0 when grpc.health.v1 says SERVING, else 1."""

import argparse
import sys
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m service_kit.probe", description=__doc__)
    parser.add_argument("address", help="HOST:PORT of the service")
    parser.add_argument("--service", default="", help="empty: readiness; liveness: whether the process works")
    parser.add_argument("--timeout", type=float, default=2.0, help="seconds to wait")
    options = parser.parse_args(arguments)
    request = health_pb2.HealthCheckRequest(service=options.service)
    with grpc.insecure_channel(options.address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)  # its stubs know only asyncio's
        try:
            answer = stub.Check(request, timeout=options.timeout)
        except grpc.RpcError as error:
            print(f"{options.address}: {error.code().name}", file=sys.stderr)
            return 1
    print(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))
    return 0 if answer.status == health_pb2.HealthCheckResponse.SERVING else 1


if __name__ == "__main__":
    sys.exit(main())
