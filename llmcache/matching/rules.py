"""The OPTIONS of a semantic store that say what counts as a match.

    "OPTIONS": {
        "embedder": "minilm",              # or {"BACKEND": "provider", "OPTIONS": {"model": "..."}}
        "similarity_threshold": 0.8,
        "guards": {"entities": {}},
        "judge": {"BACKEND": "provider", "OPTIONS": {"model": "..."}},
        "judge_band": [0.7, 0.8],
        "mode": "serve",                   # or "shadow"
        "audit": 0.01,
        "neighbours": 5,
    }
"""
