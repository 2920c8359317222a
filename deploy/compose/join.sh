#!/bin/sh
# Make one Cluster of nodes that were never joined, with a replica for each master, and wait until it is whole.
#
#   join.sh PORT ADDRESS...
#
# Nodes that are joined already are left as they are. CLI names another valkey-cli, or redis-cli.

set -eu
cli=${CLI:-valkey-cli}
port=$1
shift

info() {
    "$cli" -h "$1" -p "${2:-$port}" cluster info | tr -d '\r'
}

address() { echo "${1%:*}"; }
port_of() { case $1 in *:*) echo "${1#*:}" ;; *) echo "$port" ;; esac; }

wait_for() { # ADDRESS WORDS OTHERWISE
    tries=0
    until info "$(address "$1")" "$(port_of "$1")" 2>/dev/null | grep -q "$2"; do
        tries=$((tries + 1))
        if [ "$tries" -gt 60 ]; then
            echo "join.sh: $1 $3 within a minute" >&2
            exit 1
        fi
        sleep 1
    done
}

for each in "$@"; do
    wait_for "$each" '^cluster_state:' 'does not answer'
done

first=$1
if info "$(address "$first")" "$(port_of "$first")" | grep -q '^cluster_known_nodes:1$'; then
    nodes=
    for each in "$@"; do
        nodes="$nodes $(address "$each"):$(port_of "$each")"
    done
    # shellcheck disable=SC2086 # they are several words
    "$cli" --cluster create $nodes --cluster-replicas 1 --cluster-yes
fi

for each in "$@"; do
    wait_for "$each" '^cluster_state:ok' 'does not find the Cluster whole'
done
echo "the Cluster of $# nodes is whole"
