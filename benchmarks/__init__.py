"""One script a question: prints one table, writes benchmarks/results/NAME.json. Timings never enter a hashed output."""
