#!/bin/sh
# sh client.sh [PORT]: submit jobs of the shop.
gearman="gearman -h 127.0.0.1 -p ${1:-4730}"

echo '"hello"' | $gearman -f shop.reverse
echo
echo '{"args": ["cat.png"], "kwargs": {"width": 3}}' | $gearman -f shop.resize
echo
echo 5 | $gearman -f shop.reverse >/dev/null 2>&1 || echo failed

# In the background:
echo '"ada@example.com"' | $gearman -b -f send-mail
