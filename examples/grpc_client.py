"""An internal service that asks who follows whom; needs only `pip install reelgraph-stubs`."""

import argparse
from pathlib import Path

import grpc

from reelgraph.graph.v1 import accounts_pb2, accounts_pb2_grpc, follows_pb2, follows_pb2_grpc

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("address", help="of graph, such as 127.0.0.1:9090")
parser.add_argument("usernames", nargs="+")
parser.add_argument("--tls", nargs=3, type=Path, metavar=("CA", "CERT", "KEY"), help="PEM files, for mutual TLS")
given = parser.parse_args()

if given.tls:
    ca, cert, key = (path.read_bytes() for path in given.tls)
    channel = grpc.secure_channel(given.address, grpc.ssl_channel_credentials(ca, key, cert))
else:
    channel = grpc.insecure_channel(given.address)

with channel:
    request = accounts_pb2.BatchGetAccountsByUsernameRequest(usernames=given.usernames)
    accounts = accounts_pb2_grpc.AccountServiceStub(channel).BatchGetAccountsByUsername(request, timeout=5).accounts
    ids = follows_pb2.BatchGetFollowCountsRequest(user_ids=[account.id for account in accounts])
    counts = follows_pb2_grpc.FollowServiceStub(channel).BatchGetFollowCounts(ids, timeout=5).counts
    for account, count in zip(accounts, counts, strict=True):
        print(account.username, count.follower_count, count.followee_count)
