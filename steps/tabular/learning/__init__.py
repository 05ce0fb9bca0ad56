"""From rows to models, scores and explanations; and digests of all of them."""
