"""From runs to tables, figures, sentences and a page."""
