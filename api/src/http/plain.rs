//! Pages for people and crawlers.

/// `/`: says what answers here.
pub(super) async fn banner() -> &'static str {
    concat!(
        "   __\n",
        "  /o \\____   Rookery\n",
        " <__      \\  A Personal Data Server of the AT Protocol lives here.\n",
        "    \\_____/\n",
        "     | |     Methods are below /xrpc/\n",
        "\n",
        "  Protocol: https://atproto.com\n",
    )
}

/// `/robots.txt`: everything may be read.
pub(super) async fn robots() -> &'static str {
    "# Everything here is public data; sync endpoints are the better way to get all of it.\nUser-agent: *\nAllow: /\n"
}
