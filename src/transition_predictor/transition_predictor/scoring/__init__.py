"""How good former forecasts were."""
