#!/bin/sh
# Installs the reference server here, from npm, with the Node that runs it.
#
# Its SQLite is compiled: the ready-made one would come from somewhere else. The headers are those of that Node. It is a
# Node 22, because with those of 24.21 SQLite's objects abort the process when they are collected.
set -eu
cd "$(dirname "$0")"

case $(uname -m) in
    x86_64) cpu=x64 ;;
    aarch64) cpu=arm64 ;;
    *) echo "the reference server needs Node 22 or later, which npm has for x86-64 and aarch64 only" >&2; exit 1 ;;
esac
installed=node_modules/.rookery-installed
if [ -e "$installed" ] && cmp -s package-lock.json "$installed"; then
    exit 0
fi
npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
node=$PWD/node_modules/node-linux-$cpu
PATH="$node/bin:$PATH" npm_config_nodedir="$node" npm_config_build_from_source=true npm rebuild better-sqlite3
cp package-lock.json "$installed"
