"""The accounts domain, composed."""

from __future__ import annotations

from dataclasses import dataclass

from argon2 import PasswordHasher

from graph_svc.accounts.commands import AccountCommands, AccountLimits
from graph_svc.accounts.credentials import Issuer
from graph_svc.accounts.passwords import Passwords
from graph_svc.accounts.queries import AccountQueries
from graph_svc.accounts.sealing import Sealer
from graph_svc.accounts.server import AccountServicer
from graph_svc.accounts.sessions import SessionCommands
from graph_svc.accounts.signing import AccessTokens, KeyRing
from graph_svc.accounts.store import Account
from graph_svc.accounts.stores.redis import RedisRevocations
from graph_svc.accounts.stores.remembered import RememberedFaces
from graph_svc.accounts.stores.rpc import RpcAvatarDirectory
from graph_svc.accounts.stores.sql import SqlAccountStore, SqlKeyStore
from graph_svc.accounts.upkeep import EVERY_S, AccountUpkeep
from graph_svc.context import Domain, GraphContext
from reelgraph.graph.v1 import accounts_pb2, accounts_pb2_grpc
from svc_kit.last_known import LastKnown
from svc_kit.limits import RateLimiter
from svc_kit.paging import TokenSigner
from svc_kit.periodic import every
from svc_kit.rpc.server import Servicer
from svc_kit.service import Job

UPKEEP = "graph.accounts.upkeep"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts(Domain):
    """The wired domain, and the accounts that others ask of it."""

    queries: AccountQueries


async def build_accounts(context: GraphContext) -> Accounts:
    """`AccountService` and the upkeep of keys and sessions."""
    platform, settings, clock = context.platform, context.settings, context.platform.clock
    secret = platform.settings.secret.get_secret_value().encode()
    store = SqlAccountStore(context.uow)
    revocations = RedisRevocations(platform.cache)
    ring = KeyRing(SqlKeyStore(context.uow), Sealer(secret, "signing keys"), clock, settings)
    issuer = Issuer(AccessTokens(ring, clock, settings.access_token_s), platform.ids, clock, settings)
    hasher = PasswordHasher(settings.password_time_cost, settings.password_memory_kib, settings.password_parallelism)
    accounts = AccountCommands(
        store,
        context.uow,
        ids=platform.ids,
        clock=clock,
        passwords=Passwords(hasher, settings.password_threads, settings.password_queue),
        issuer=issuer,
        revocations=revocations,
        avatars=RpcAvatarDirectory(platform.peer, platform.channels.media),
        limiter=RateLimiter(platform.cache, clock),
        limits=AccountLimits.of(settings),
    )
    sessions = SessionCommands(
        store,
        context.uow,
        clock=clock,
        issuer=issuer,
        revocations=revocations,
        sealer=Sealer(secret, "refreshed sessions"),
        settings=settings,
    )
    known = LastKnown(platform.cache, clock, "account", Account, lambda account: account.version)
    queries = AccountQueries(
        store, RememberedFaces(store, known), revocations, TokenSigner(secret, "pages of accounts"), clock
    )
    return Accounts(
        servicers=[
            Servicer(
                accounts_pb2.DESCRIPTOR.services_by_name["AccountService"],
                AccountServicer(accounts, sessions, queries, ring),
                accounts_pb2_grpc.add_AccountServiceServicer_to_server,
            )
        ],
        workers=[Job(UPKEEP, every(clock, EVERY_S, AccountUpkeep(store, ring, clock).once, UPKEEP))],
        queries=queries,
    )
