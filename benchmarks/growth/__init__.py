"""How the cost of a job grows: with its payload, with what is declared, and with what else there is."""

#: The environment variable with the number of jobs that are declared beside the usual ones.
OTHERS = "GROWTH_FUNCTIONS"
