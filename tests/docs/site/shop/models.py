"""What the site sells."""

from __future__ import annotations

from tests.shop.models import Product as Product
