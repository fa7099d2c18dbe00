"""How the cost of a job grows: with its payload, with what is declared, and with what else there is."""
