#!/bin/sh
# Runs the Node that `npm ci` installed here; the machine's own may be too old for the official packages. By its path,
# because older releases of npm do not link the program of an optional dependency.
case $(uname -m) in
    x86_64) cpu=x64 ;;
    aarch64) cpu=arm64 ;;
    *) cpu=unknown ;;
esac
installed=$(dirname "$0")/../node_modules/node-linux-$cpu/bin/node
if [ -x "$installed" ]; then
    exec "$installed" "$@"
fi
exec node "$@"
