"""The offline GraphiQL page and the reference player, served by the gateway itself."""

from gateway.explorer.page import DemoLogin, explorer_page, explorer_routes, locate_dist

__all__ = ["DemoLogin", "explorer_page", "explorer_routes", "locate_dist"]
