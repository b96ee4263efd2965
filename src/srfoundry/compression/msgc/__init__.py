"""Middle-spectrum grouped convolution (MSGC): masks, their cost, and the plain net that they give."""
