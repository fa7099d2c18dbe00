"""The language of Gearman: packets, admin answers, names and addresses. No I/O, no Django."""
