"""A chat model of LangChain's kind whose answers can be told apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from llmcache.models import Call
from llmcache.recorder import flush

Run = Callable[..., Any]
Counted = Callable[[str], int]


class Model(BaseChatModel):
    """A chat model that numbers its answers, as a provider's integration describes itself."""

    model_name: str = "gpt-4o-mini"
    temperature: float = 0.0
    asked: int = 0
    extra: dict[str, Any] = {}
    fails: bool = False

    @property
    def _llm_type(self) -> str:
        return "numbering"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": self.model_name, "temperature": self.temperature}

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        params = {**self._identifying_params, **kwargs, "stop": stop}
        return str(sorted(params.items()))

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        self.asked += 1
        if self.fails:
            raise ConnectionError("no model")
        message = AIMessage(
            content=f"answer {self.asked} to {messages[-1].content}",
            additional_kwargs=self.extra,
            usage_metadata={"input_tokens": 100, "output_tokens": 20, "total_tokens": 120},
        )
        return ChatResult(generations=[ChatGeneration(message=message)])


def outcomes() -> list[str]:
    flush()
    return list(Call.objects.order_by("pk").values_list("outcome", flat=True))
