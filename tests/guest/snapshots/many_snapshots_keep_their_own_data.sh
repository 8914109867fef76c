#!/bin/sh
# Sixteen snapshots of an origin that is written between them all read back as taken; deleting half returns space.
# vm: timeout=120
. "$TESTS/lib.sh"

pool
thin_new t 0 8
model "$W/t" 8
random_puts t "$W/t" 8 20 200
for i in $(seq 1 16); do
    # Each snapshot has this one to itself: the random places alone may leave nothing to be returned.
    put t "$W/t" 0 4096 direct
    snap "s$i" "$i" t 0
    cp "$W/t" "$W/s$i"
    random_puts t "$W/t" 8 4 300
    # Every other one is written itself.
    if [ $((i % 2)) = 0 ]; then
        random_puts "s$i" "$W/s$i" 8 3 300
    fi
done
for i in $(seq 1 16); do
    same "s$i" "$W/s$i"
done
same t "$W/t"
used=$(chunks_used)
for i in $(seq 1 2 16); do
    remove "s$i"
    message delete "$i"
done
at_most "chunks used after deleting half" "$(chunks_used)" "$((used - 8))"
for i in $(seq 2 2 16); do
    same "s$i" "$W/s$i"
    remove "s$i"
    message delete "$i"
done
same t "$W/t"
# What is left is the origin's alone.
equals "chunks used" "$(chunks_used)" $(($(thin_mapped t) / 128))
