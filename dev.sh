#!/bin/sh
# The one way in on a fresh machine: sees to cargo and a C compiler, without which nothing can be built, and
# leaves everything else to `cargo dev`.
set -eu
cd "$(dirname "$0")"

if ! command -v cargo >/dev/null 2>&1 && [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
    PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    export PATH
fi
if ! command -v cargo >/dev/null 2>&1; then
    echo "cargo is missing: install Rust by rustup (https://rustup.rs), then run this again" >&2
    exit 1
fi

if ! command -v cc >/dev/null 2>&1; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "installing a C compiler …" >&2
        apt-get update -q >&2
        DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends build-essential >&2
    elif command -v apt-get >/dev/null 2>&1; then
        echo "a C compiler is missing: sudo apt-get update && sudo apt-get install -y build-essential" >&2
        exit 1
    else
        echo "a C compiler is missing: install gcc or clang with your system's packages" >&2
        exit 1
    fi
fi

exec cargo dev "$@"
