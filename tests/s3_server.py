"""An S3 server of the test's own, and the environment in which pyarrow speaks to it."""

from __future__ import annotations

from typing import Any


class S3:
    """A server with the buckets ``plays`` and ``models``."""

    def __init__(self, url: str) -> None:
        self.environment = {
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": url,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        import boto3  # here, as it takes a second, and each process that collects the tests would take it

        self.client: Any = boto3.client(
            "s3", endpoint_url=url, aws_access_key_id="key", aws_secret_access_key="secret", region_name="us-east-1"
        )
        for bucket in ("plays", "models"):
            self.client.create_bucket(Bucket=bucket)

    def names(self, bucket: str) -> list[str]:
        """Keys of the objects in a bucket."""
        return [entry["Key"] for entry in self.client.list_objects_v2(Bucket=bucket).get("Contents", [])]
