"""What a person may ask, and how it becomes a call of llmcache."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings

SUGGESTIONS = (
    "What is the capital of France?",
    "Why is the sky blue?",
    "Name three kinds of bread.",
    "What does a cache do?",
)
SYSTEM = "You are a helpful assistant. Answer in one or two short sentences."
LONGEST_ANSWER = 400


def call_arguments(
    question: str, *, using: str = "default", refresh: bool = False
) -> dict[str, Any]:
    """Arguments for `llmcache.completion`. Every question stands alone, so a repeated one hits."""
    return {
        "model": settings.EXAMPLE_MODEL,
        "messages": [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": question},
        ],
        "temperature": 0,
        "max_tokens": LONGEST_ANSWER,
        "using": using,
        "cache": {"no-cache": refresh},
    }


class QuestionForm(forms.Form):
    """One question to the model."""

    question = forms.CharField(
        max_length=2000,
        label="Your question",
        widget=forms.Textarea(
            attrs={"rows": 2, "placeholder": "Ask something, then ask it again", "autofocus": True}
        ),
    )
    using = forms.ChoiceField(
        label="Store",
        required=False,
        choices=[("default", "Memory"), ("disk", "Disk")],
    )
    refresh = forms.BooleanField(label="Ask the model again", required=False)

    def call_arguments(self) -> dict[str, Any]:
        """As the function of that name; only for a valid form."""
        return call_arguments(
            self.cleaned_data["question"],
            using=self.cleaned_data["using"] or "default",
            refresh=self.cleaned_data["refresh"],
        )
