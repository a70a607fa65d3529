"""The ground floor of numerics: one scalar text, the same text on arrays, counted noise, and how a text is bound."""
