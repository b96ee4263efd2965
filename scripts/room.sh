#!/bin/sh
# Stop before a disk fills up: room.sh GIB asks for that many free GiB here.
free=$(df -Pk . | awk 'NR == 2 { print int($4 / 1048576) }')
[ "$free" -ge "$1" ] || {
    echo "error: $1 GiB of free disk are needed in $(pwd), got $free; make room and run again" >&2
    exit 1
}
