"""Models of a site that uses the cache: what answers can be about."""

from __future__ import annotations

from django.db import models


class Label(models.Model):
    name = models.CharField(max_length=50)


class Product(models.Model):
    name = models.CharField(max_length=50)
    labels = models.ManyToManyField(Label, related_name="products")


class Book(Product):
    """A kind of product with a table of its own: one object, two rows."""

    author = models.CharField(max_length=50)


class Supplier(models.Model):
    """Not among TAG_MODELS."""

    name = models.CharField(max_length=50)
