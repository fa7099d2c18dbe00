#!/bin/sh
# sh worker.sh [PORT]: serve the job sh.bytes, which counts the bytes of its argument.
exec gearman -h 127.0.0.1 -p "${1:-4730}" -w -f sh.bytes -- wc -c
