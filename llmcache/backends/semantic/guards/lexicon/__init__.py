"""The words that guards know: general vocabulary, not tuned to any set of questions.

English, but for the small words that tell languages apart. One module for each kind of knowledge;
only tables enter.
"""
