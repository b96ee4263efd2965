"""Colours that people who see few colours can distinguish (Okabe and Ito 2008), darkest against white first."""

BLUE, ORANGE, GREEN, PURPLE, SKY, RED = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#a50026"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, RED)
GREY = "#d0d0d0"
