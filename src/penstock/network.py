"""How a job's instances may use the network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class NetworkConfig:
    """The NetworkConfig of a job.

    Args:
        enable_network_isolation: No network at all for the program; sent as False when not given.
        security_group_ids: Ids of a VPC's security groups.
        subnets: Ids of a VPC's subnets.
        encrypt_inter_container_traffic: Encrypt what instances send each other; left out when not given.
    """

    def __init__(
        self,
        enable_network_isolation: bool | None = None,
        security_group_ids: Sequence[str] | None = None,
        subnets: Sequence[str] | None = None,
        encrypt_inter_container_traffic: bool | None = None,
    ) -> None:
        self.enable_network_isolation = enable_network_isolation
        self.security_group_ids = security_group_ids
        self.subnets = subnets
        self.encrypt_inter_container_traffic = encrypt_inter_container_traffic

    def _to_request_dict(self) -> dict[str, Any]:
        request: dict[str, Any] = {"EnableNetworkIsolation": bool(self.enable_network_isolation)}
        if self.encrypt_inter_container_traffic is not None:
            request["EnableInterContainerTrafficEncryption"] = self.encrypt_inter_container_traffic
        vpc = {"SecurityGroupIds": self.security_group_ids, "Subnets": self.subnets}
        vpc = {name: value for name, value in vpc.items() if value is not None}
        if vpc:
            request["VpcConfig"] = vpc
        return request
