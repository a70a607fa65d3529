"""Rules for shares of a whole, beside which learners may be shown: nothing is learned, and the future isn't seen."""
