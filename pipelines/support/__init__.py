"""What serves the stages: graph, servers, locks, telemetry, presets, fan-out, the factory."""
