"use strict";
// The entry link carries its key behind the #, which browsers send to nobody; so it is posted from here.
const link = location.hash.slice(1);
if (link) {
  history.replaceState(null, "", location.pathname);
  const form = document.getElementById("enter");
  form.elements.link.value = link;
  form.submit();
}
