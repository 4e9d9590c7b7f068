"""The evaluation of a painter: what is asked, what is measured, and the page that says so."""
