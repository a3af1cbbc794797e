#!/bin/sh
# Looks for what Rookery needs on this machine and installs what is missing, where apt may be used without asking for a
# password. Otherwise it says in one line what to install.
#
#   tests/setup.sh run     what `make run` needs
#   tests/setup.sh test    what `make test` needs besides
set -eu

OLDEST_POSTGRES=14

# --- what is there -------------------------------------------------------------

have() {
    command -v "$1" >/dev/null 2>&1
}

have_postgres() {
    for programs in /usr/lib/postgresql/*/bin; do
        release=$(basename "$(dirname "$programs")")
        if [ -x "$programs/initdb" ] && [ "${release%%.*}" -ge "$OLDEST_POSTGRES" ]; then
            return 0
        fi
    done
    return 1
}

# Prints the packages that are missing for the purpose $1.
missing() {
    { have cc && have make; } || echo build-essential
    have_postgres || echo postgresql
    have redis-server || echo redis-server
    # Any release that can install: the tests bring the Node that runs them. Python is for what that compiles.
    if [ "$1" = test ]; then
        have curl || echo curl
        have node || echo nodejs
        have npm || echo npm
        have python3 || echo python3
    fi
}

# --- installing ----------------------------------------------------------------

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

may_install() {
    have apt-get && { [ "$(id -u)" -eq 0 ] || { have sudo && sudo -n true 2>/dev/null; }; }
}

apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive DEBCONF_NOWARNINGS=yes apt-get install -qq -y --no-install-recommends "$@" >/dev/null
}

POLICY=/usr/sbin/policy-rc.d
NO_CLUSTER=/etc/postgresql-common/createcluster.d/rookery-setup.conf
made_policy=
made_no_cluster=

# The packages would start servers on the standard ports. Rookery starts its own, so they must not.
forbid_services() {
    if [ ! -e "$POLICY" ]; then
        made_policy=1
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$POLICY" >/dev/null
        as_root chmod 755 "$POLICY"
    fi
}

allow_services() {
    [ -z "$made_policy" ] || as_root rm -f "$POLICY"
    if [ -n "$made_no_cluster" ]; then
        as_root rm -f "$NO_CLUSTER"
        as_root rmdir --ignore-fail-on-non-empty "$(dirname "$NO_CLUSTER")"
    fi
}

install_postgres() {
    apt_install postgresql-common
    # A cluster made now would start with the machine. The file is read through an include_dir of the package's own.
    made_no_cluster=1
    as_root mkdir -p "$(dirname "$NO_CLUSTER")"
    echo 'create_main_cluster = false' | as_root tee "$NO_CLUSTER" >/dev/null
    apt_install postgresql
}

install_redis() {
    apt_install redis-server
    if have systemctl; then
        as_root systemctl --quiet disable redis-server >/dev/null 2>&1 || true
    fi
}

install_all() {
    trap allow_services EXIT
    trap 'exit 1' INT TERM
    forbid_services
    as_root apt-get update -qq
    for package in "$@"; do
        echo "Installing $package"
        case $package in
            postgresql) install_postgres ;;
            redis-server) install_redis ;;
            *) apt_install "$package" ;;
        esac
    done
}

# --- main ----------------------------------------------------------------------

purpose=${1:?run or test}

if ! have cargo; then
    echo "Rookery needs Rust: install it with rustup (https://rustup.rs), then open a new shell." >&2
    exit 1
fi

packages=$(missing "$purpose" | paste -sd ' ' -)
if [ -n "$packages" ]; then
    if ! may_install; then
        echo "Rookery needs some packages. Install them with: sudo apt-get install $packages" >&2
        exit 1
    fi
    # shellcheck disable=SC2086 # a list of words
    install_all $packages
fi

if ! have_postgres; then
    echo "Rookery needs Postgres $OLDEST_POSTGRES or later; this machine's packages are older (see https://apt.postgresql.org)." >&2
    exit 1
fi
