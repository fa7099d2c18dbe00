"""The project whose admin `benchmarks.pages` measures: 40 jobs in 10 queues."""
