#!/bin/sh
# Installs the reference server from npm, with the Node that runs it, and links it to where server.js looks for it.
#
# It is kept in the user's cache, because a fresh clone would else compile for a minute: its SQLite, since the ready-made
# one would come from somewhere else than npm. The headers are those of that Node. It is a Node 22, because with those of
# 24.21 SQLite's objects abort the process when they are collected.
set -eu
cd "$(dirname "$0")"

case $(uname -m) in
    x86_64) cpu=x64 ;;
    aarch64) cpu=arm64 ;;
    *) echo "the reference server needs Node 22 or later, which npm has for x86-64 and aarch64 only" >&2; exit 1 ;;
esac

install() {
    cp package.json package-lock.json "$1"
    cd "$1"
    npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
    node=$PWD/node_modules/node-linux-$cpu
    PATH="$node/bin:$PATH" npm_config_nodedir="$node" npm_config_build_from_source=true npm rebuild better-sqlite3
}

cache=${XDG_CACHE_HOME:-$HOME/.cache}/rookery
installed=$cache/reference-$cpu-$(cksum <package-lock.json | cut -d ' ' -f 1)
if [ ! -d "$installed" ]; then
    echo "Installing the reference server"
    mkdir -p "$cache"
    draft=$(mktemp -d "$installed.XXXXXX")
    trap 'rm -rf "$draft"' EXIT
    trap 'exit 1' INT TERM
    (install "$draft")
    # Whole or not at all. If another was faster, its is as good.
    mv -T "$draft" "$installed" 2>/dev/null || [ -d "$installed" ]
fi
[ -L node_modules ] || rm -rf node_modules
ln -sfn "$installed/node_modules" node_modules
