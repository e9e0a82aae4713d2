"""An internal service that asks who follows whom; needs only `pip install reelgraph-stubs`."""

import sys

import grpc

from reelgraph.graph.v1 import accounts_pb2, accounts_pb2_grpc, follows_pb2, follows_pb2_grpc

with grpc.insecure_channel(sys.argv[1]) as channel:
    request = accounts_pb2.BatchGetAccountsByUsernameRequest(usernames=sys.argv[2:])
    accounts = accounts_pb2_grpc.AccountServiceStub(channel).BatchGetAccountsByUsername(request, timeout=5).accounts
    ids = follows_pb2.BatchGetFollowCountsRequest(user_ids=[account.id for account in accounts])
    counts = follows_pb2_grpc.FollowServiceStub(channel).BatchGetFollowCounts(ids, timeout=5).counts
    for account, count in zip(accounts, counts, strict=True):
        print(account.username, count.follower_count, count.followee_count)
